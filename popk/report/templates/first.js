// Before anything is seen: scripts are here, and the theme that was chosen last time.
document.documentElement.classList.replace("no-js", "js");
try {
  const chosen = localStorage.getItem("popk-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
} catch {}
