# SPDX-License-Identifier: Apache-2.0
"""ALL SQL and nothing but SQL."""
