# SPDX-License-Identifier: Apache-2.0
"""HTTP: parse, run one flow or effect, render."""
