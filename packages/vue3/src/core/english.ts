// SPDX-License-Identifier: Apache-2.0
// What is said where no other language was fetched: at first, on a server, and for a language that we do not speak.

import en from "../messages/en.json"

export const english = en
