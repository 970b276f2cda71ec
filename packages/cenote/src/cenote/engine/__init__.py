"""Reconciling one node: the parts of a node, each with a looking and a planning half.

``look`` asks the machine what is there and changes nothing.  ``plan`` is pure: from the desired state and
what was seen to the changes that lead from one to the other.  ``parts`` has their order.  Each pass begins
by looking, so a crash between any two changes needs no repair code.
"""
