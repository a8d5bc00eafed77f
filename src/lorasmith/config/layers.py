"""Owns how settings are laid over each other: later ones win, a variant's name starts it afresh; reads nothing."""

from collections.abc import Sequence
from typing import Any

from lorasmith.config.flags import default_values, optional_sections, options, union_sections, variant_defaults
from lorasmith.config.origin import DEFAULT, Origin, Setting


class Layers:
    """The settings laid so far, each with its origin; starts with the defaults."""

    def __init__(self) -> None:
        self._values: dict[str, Setting] = {}
        self._sections_on: dict[str, Setting] = {}
        self._variants = {section: str(default_values()[f"{section}.name"]) for section in union_sections()}

    def lay(self, settings: Sequence[Setting]) -> None:
        """Lay one layer over those before: sections off or on, then variants' names, then values."""
        for setting in settings:
            if setting.path in optional_sections():
                self._switch_section(setting)
        for setting in settings:
            if setting.path.removesuffix(".name") in self._variants and setting.path.endswith(".name"):
                self._start_variant(setting)
        for setting in settings:
            if setting.path not in optional_sections():
                self._set(setting)

    def fill(self, settings: Sequence[Setting]) -> None:
        """Set what nobody has said yet."""
        for setting in settings:
            if setting.path not in self._values:
                self._set(setting)

    def is_on(self, section: str) -> bool:
        """Whether an optional section is on."""
        return section in self._sections_on and bool(self._sections_on[section].value)

    def variant(self, section: str) -> str:
        """The name of the variant a tagged-union section has."""
        return self._variants[section]

    def value(self, path: str) -> object:
        """The value at a path: what was said, else the default."""
        return self._values[path].value if path in self._values else self._defaults()[path]

    def strangers(self) -> tuple[Setting, ...]:
        """Settings that the chosen variant of their section does not have."""
        return tuple(setting for setting in self._values.values() if not self._belongs(setting.path))

    def nested(self) -> dict[str, Any]:
        """What was said, as nested data for the schema; settings of other variants are left out."""
        tree: dict[str, Any] = {section: {} for section in self._sections_on if self.is_on(section)}
        for section, variant in self._variants.items():
            tree[section] = {"name": variant}
        for path, setting in self._values.items():
            if self._belongs(path):
                section, _, name = path.rpartition(".")
                (tree.setdefault(section, {}) if section else tree)[name] = setting.value
        return tree

    def origins(self) -> dict[str, Origin]:
        """Where each resolved leaf came from."""
        origins = dict.fromkeys(self._defaults(), DEFAULT)
        for section, switch in self._sections_on.items():
            origins = self._section_origins(origins, section, switch)
        return origins | {path: setting.origin for path, setting in self._values.items() if self._belongs(path)}

    def _switch_section(self, setting: Setting) -> None:
        self._sections_on[setting.path] = setting
        if not setting.value:
            self._forget(setting.path)

    def _start_variant(self, setting: Setting) -> None:
        section = setting.path.removesuffix(".name")
        self._forget(section)
        self._variants[section] = str(setting.value)

    def _set(self, setting: Setting) -> None:
        self._values[setting.path] = setting
        section = setting.path.partition(".")[0]
        if section in optional_sections() and not self.is_on(section):
            self._sections_on[section] = Setting(section, True, setting.origin)

    def _forget(self, section: str) -> None:
        self._values = {path: setting for path, setting in self._values.items() if not _is_in(path, section)}

    def _belongs(self, path: str) -> bool:
        variants = options()[path].variants
        return not variants or self._variants[path.partition(".")[0]] in variants

    def _defaults(self) -> dict[str, object]:
        defaults = {
            path: value for path, value in default_values().items() if path.partition(".")[0] not in self._variants
        }
        for section, variant in self._variants.items():
            defaults |= variant_defaults(section, variant)
        return defaults

    def _section_origins(self, origins: dict[str, Origin], section: str, switch: Setting) -> dict[str, Origin]:
        if not switch.value:
            return origins | {section: switch.origin}
        del origins[section]
        return origins | {path: DEFAULT for path in options() if _is_in(path, section)}


def _is_in(path: str, section: str) -> bool:
    return path.startswith(f"{section}.")
