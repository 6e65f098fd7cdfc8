// SPDX-License-Identifier: Apache-2.0
export default { base: "./", build: { target: "es2022" } }
