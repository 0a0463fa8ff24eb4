-- The options come above this line, as `options`: what was declared first, then what profiles say.
-- A post-dissector: Wireshark 4.0 dissects GENEVE itself and lets nobody else name its options.

local protocol = Proto("ovsgeneve", "GENEVE options by name")
local wrong_length = ProtoExpert.new(
  "ovsgeneve.expert.length", "Option of another length than declared", expert.group.MALFORMED, expert.severity.WARN)
local undeclared_bits = ProtoExpert.new(
  "ovsgeneve.expert.bits", "Bits that no field has are set", expert.group.UNDECODED, expert.severity.NOTE)
local twice = ProtoExpert.new(
  "ovsgeneve.expert.twice", "Option that was there before: OVS takes the last", expert.group.PROTOCOL, expert.severity.WARN)
protocol.experts = { wrong_length, undeclared_bits, twice }

local found = Field.new("geneve.option")
local registered = {}

local function register(field)
  registered[#registered + 1] = field
  return field
end

-- A bit field of up to 32 bits reads as a number, a wider one as a UInt64.
local function number_field(spec, base_shown)
  local make = spec.bits > 32 and ProtoField.uint64 or ProtoField.uint32
  return make(spec.abbrev, spec.name, base_shown, spec.bits <= 32 and spec.values or nil)
end

local makers = {
  uint = function(spec) return number_field(spec, base.DEC) end,
  enum = function(spec) return number_field(spec, base.DEC) end,
  flags = function(spec) return number_field(spec, base.HEX) end,
  ipv4 = function(spec) return ProtoField.ipv4(spec.abbrev, spec.name) end,
  ipv6 = function(spec) return ProtoField.ipv6(spec.abbrev, spec.name) end,
  mac = function(spec) return ProtoField.ether(spec.abbrev, spec.name) end,
  bytes = function(spec) return ProtoField.bytes(spec.abbrev, spec.name) end,
}

local function prepare(spec)
  spec.field = register(makers[spec.kind](spec))
  for _, flag in ipairs(spec.flags or {}) do
    flag.field = register(ProtoField.bool(flag.abbrev, flag.name))
  end
end

for _, option in ipairs(options) do
  option.field = register(ProtoField.bytes(option.abbrev, option.title))
  for _, spec in ipairs(option.fields) do prepare(spec) end
  if option.rest then prepare(option.rest) end
end
protocol.fields = registered

-- The bytes in which a field lies, for the pane that shows them.
local function place(data, spec)
  local first = math.floor(spec.offset / 8)
  return data:range(first, math.floor((spec.offset + spec.bits - 1) / 8) - first + 1)
end

-- Addresses and bytes that do not begin at a byte are shifted into a buffer of their own.
local function octets(data, spec)
  if spec.offset % 8 == 0 then return data:range(spec.offset / 8, spec.bits / 8) end
  local digits = {}
  for offset = spec.offset, spec.offset + spec.bits - 1, 8 do
    digits[#digits + 1] = string.format("%02x", data:range():bitfield(offset, 8))
  end
  return ByteArray.new(table.concat(digits)):tvb(spec.abbrev):range()
end

local function show_flags(tree, data, spec)
  local names = {}
  for _, flag in ipairs(spec.flags) do
    local at = spec.offset + spec.bits - 1 - flag.bit
    local set = data:range():bitfield(at, 1) == 1
    if set then names[#names + 1] = flag.name end
    tree:add(flag.field, data:range(math.floor(at / 8), 1), set)
  end
  if #names > 0 then tree:append_text(" (" .. table.concat(names, "|") .. ")") end
end

local function show_number(tree, data, spec)
  local value = data:range():bitfield(spec.offset, spec.bits)
  local item = tree:add(spec.field, place(data, spec), value)
  if spec.values and spec.bits > 32 then
    local name = spec.values[tostring(value)]
    if name then item:append_text(" (" .. name .. ")") end
  end
  if spec.flags then show_flags(item, data, spec) end
end

local function show(tree, data, spec)
  if spec.kind == "uint" or spec.kind == "enum" or spec.kind == "flags" then
    show_number(tree, data, spec)
  else
    tree:add(spec.field, octets(data, spec))
  end
end

local function show_rest(tree, data, option)
  local offset = 0
  for _, spec in ipairs(option.fields) do offset = math.max(offset, spec.offset + spec.bits) end
  local bits = data:len() * 8 - offset
  if option.rest and bits > 0 then
    local rest = option.rest
    show(tree, data, { kind = rest.kind, field = rest.field, abbrev = rest.abbrev, offset = offset, bits = bits })
  end
end

local function stray_bits(data, option)
  for _, gap in ipairs(option.gaps) do
    for offset = gap.offset, gap.offset + gap.bits - 1, 32 do
      local bits = math.min(32, gap.offset + gap.bits - offset)
      if data:range():bitfield(offset, bits) ~= 0 then return true end
    end
  end
  return false
end

-- Returns the option that is meant, and whether it has the length it should have.
local function look_up(class, kind, length)
  local known
  for _, option in ipairs(options) do
    if option.class == class and (option.type == nil or option.type == kind) then
      if option.length == nil or option.length == length then return option, true end
      known = known or option
      if option.declared then return option, false end
    end
  end
  return known, false
end

local function show_option(tree, range, seen)
  local class, kind = range:range(0, 2):uint(), range:range(2, 1):uint()
  local length = range:len() - 4
  local option, fits = look_up(class, kind, length)
  local branch = tree:add(option.field, range)
  branch:set_text(string.format("%s (0x%04x/0x%02x, %s)", option.title, class, kind, option.owner))
  local key = class * 256 + kind
  if seen[key] then branch:add_proto_expert_info(twice) end
  seen[key] = true
  if not fits then
    branch:add_proto_expert_info(wrong_length, string.format("%d bytes of data: want %s", length, option.wanted))
    return
  end
  if length == 0 then return end
  local data = range:range(4, length):tvb()
  for _, spec in ipairs(option.fields) do show(branch, data, spec) end
  show_rest(branch, data, option)
  if stray_bits(data, option) then branch:add_proto_expert_info(undeclared_bits) end
end

-- A packet may have GENEVE inside of GENEVE: options that do not follow each other are of different headers.
function protocol.dissector(buffer, packet, root)
  local tree, seen, expected = nil, {}, -1
  for _, info in ipairs({ found() }) do
    local range = info.range
    if info.offset ~= expected then seen = {} end
    expected = info.offset + range:len()
    if look_up(range:range(0, 2):uint(), range:range(2, 1):uint(), range:len() - 4) then
      tree = tree or root:add(protocol)
      show_option(tree, range, seen)
    end
  end
end

register_postdissector(protocol)
