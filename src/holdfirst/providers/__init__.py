# SPDX-License-Identifier: Apache-2.0
"""THE COMPANIES: one file each, translated into our words."""
