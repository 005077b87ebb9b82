const find = document.getElementById("find"), cards = [...document.querySelectorAll("article")];
find.hidden = false;
find.addEventListener("input", () => {
  const text = find.value.toLowerCase();
  for (const card of cards) card.hidden = text !== "" && !card.textContent.toLowerCase().includes(text);
});
