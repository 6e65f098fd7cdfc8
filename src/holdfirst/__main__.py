# SPDX-License-Identifier: Apache-2.0
from holdfirst.cli import main

main()
