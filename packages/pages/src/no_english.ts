// SPDX-License-Identifier: Apache-2.0
// In place of the package's own: a hosted page fetches the one language that it speaks, and it is never without.

import type { Messages } from "@holdfirst/vue3/core"

export const english = {} as Messages
