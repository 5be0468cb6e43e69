// The room that `room.py` has kept free for a component is its own no longer once it is drawn. It stands in front of a
// component's own script.
function giveBackRoom(parentElement) {
  parentElement.host.closest('[class*="st-key-"]').style.minHeight = 0;
}

