# SPDX-License-Identifier: Apache-2.0
"""The rules a declaration has to meet, a file a kind.

`settle(intent, name, spec)` returns the spec as it is stored: sorted, and with what the allocators give. It
raises Invalid for what is wrong in the document or names what is not there, and Conflict when another object
is in the way. `check_unused(intent, name)`, for kinds others may depend on, raises Conflict when one does.
"""
