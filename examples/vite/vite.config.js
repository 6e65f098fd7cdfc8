// SPDX-License-Identifier: Apache-2.0
import vue from "@vitejs/plugin-vue"

export default { plugins: [vue()], base: "./", build: { target: "es2022" } }
