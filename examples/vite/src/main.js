// SPDX-License-Identifier: Apache-2.0
import { createHoldfirst } from "@holdfirst/vue3"
import "@holdfirst/vue3/style.css"
import { createApp } from "vue"
import App from "./App.vue"

const holdfirst = createHoldfirst({
  baseUrl: import.meta.env.VITE_HOLDFIRST_URL,
  publishableKey: import.meta.env.VITE_HOLDFIRST_KEY,
})
createApp(App).use(holdfirst).mount("#app")
