# SPDX-License-Identifier: Apache-2.0
"""WHEN can it happen? Pure."""
