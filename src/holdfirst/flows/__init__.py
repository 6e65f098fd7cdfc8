# SPDX-License-Identifier: Apache-2.0
"""THE VERBS: one transaction each, no network; load, decide, save."""
