const look = async () => {
  try {
    const answer = await fetch(location.pathname.replace(/\/$/, "") + "/state")
    if (answer.ok && !(await answer.json()).waiting) return location.reload()
  } catch {
    // No network for a moment: asked again.
  }
  setTimeout(look, 2000)
}
setTimeout(look, 2000)
