# SPDX-License-Identifier: Apache-2.0
"""WHO has it, until when? Pure."""
