// Runs before the first paint, so that a page kept in the other theme never flashes. The only script that is not a module.
(() => {
  try {
    const theme = localStorage.getItem("modeldb.theme");
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage may be forbidden: the system's theme is used.
  }
})();
