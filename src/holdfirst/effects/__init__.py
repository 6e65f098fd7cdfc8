# SPDX-License-Identifier: Apache-2.0
"""THE WORLD: network and no open transaction; safe to run twice."""
