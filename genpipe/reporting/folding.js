// On a phone what is detail shows its headings alone; a link opens what it leads into.
"use strict";
(() => {
  const open = (id) => {
    for (let part = document.getElementById(id); part; part = part.parentElement) {
      if (part.localName === "details") part.open = true;
    }
  };
  if (!location.hash && matchMedia("(max-width: 600px)").matches) {
    for (const part of document.querySelectorAll("details[open]:not(.unfolded)")) part.open = false;
  }
  open(location.hash.slice(1));
  document.addEventListener("click", (event) => {
    open(event.target.closest("a[href^='#']")?.getAttribute("href").slice(1));
  });
})();
