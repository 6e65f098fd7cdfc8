# SPDX-License-Identifier: Apache-2.0
"""WHAT else fills the time? Pure."""
