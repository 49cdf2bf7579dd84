"""Importing this module stops the cyclic collector: for a process that loads modules for others to be forked from it.

Loading makes hundreds of thousands of objects and no cycle to free, yet they are visited again and again, which takes
a sixth of the time.
"""

import gc

gc.disable()
