"""What you look at: cards and live displays in a notebook, bars and lines in a terminal.

`types.renderer_of` finds in `renderers` how a class is shown. `cards` are the reprs, `notebook` and
`notebook_batch` live outputs, `console` and `console_show` their twins in a terminal; all HTML is made
in `html` and `media`. Nothing below knows of it, and IPython, rich and Pillow load when they are used.
"""
