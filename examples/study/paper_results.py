"""What the paper printed: Make-An-Agent (arXiv 2407.10973), table 4, as rates.

One policy for each of 100 prompts a task, tried in 5 scenes of MetaWorld's v2 environments; the zoo was trained by SAC.
"""
SOURCE = "Make-An-Agent (arXiv 2407.10973), table 4"
PROMPTS = 100
# Split and task: share of policies that the paper calls qualified, mean success of the 5 and of the 10 best.
FIGURES = {
    "seen": {
        "window-open": (.33, 1.0, 1.0), "door-open": (.27, 1.0, .87), "drawer-open": (.42, 1.0, 1.0),
        "dial-turn": (.23, .82, .73), "plate-slide": (.45, 1.0, .94), "button-press": (.32, .87, .80),
        "handle-press": (.50, 1.0, .96), "faucet-close": (.45, .98, .97)},
    "unseen": {
        "drawer-close": (.55, 1.0, 1.0), "faucet-open": (.16, 1.0, .85), "button-press-wall": (.11, .97, .95),
        "coffee-button": (.08, .74, .64), "handle-press-side": (.04, .45, .30), "reach-wall": (.13, .94, .72),
        "door-lock": (.13, 1.0, .85), "window-close": (.10, .92, .85)}}
