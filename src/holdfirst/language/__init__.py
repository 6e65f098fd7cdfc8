# SPDX-License-Identifier: Apache-2.0
"""IS it paid? Pure."""
