"""What every table of a TOML file is: its known keys, and no others."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Strict(BaseModel):
    """Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", strict=False, frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Otherwise ``max_latency_ms = true`` would be a bound of 1 ms."""
        allowed = str(cls.model_fields[info.field_name or ""].annotation)
        if isinstance(value, bool) and "bool" not in allowed and "Any" not in allowed:
            raise ValueError(f"{str(value).lower()} is not a value for this key")
        return value
