/** What a name server told a sandbox: the addresses of a name that it had asked for. */
export interface NameAnswer {
  /** The sandbox's address. */
  asker: string
  /** In lower case, without a dot at its end. */
  name: string
  addresses: string[]
}

const udp = 17
const udpBytes = 8
const dnsBytes = 12
const typeA = 1
const maxRecords = 64
const label = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/

/**
 * Reads an IPv4 packet with an answer of DNS; undefined where it is anything else, has an error, is cut off, or its name is none
 * that a host can have. The name is the one that was asked for, whatever other names led to its addresses.
 */
export function readNameAnswer(packet: Buffer): NameAnswer | undefined {
  try {
    return readAnswer(packet)
  } catch (error) {
    // It ends where something more should be.
    if (error instanceof RangeError) return undefined
    throw error
  }
}

function readAnswer(packet: Buffer): NameAnswer | undefined {
  const headerBytes = (packet.readUInt8(0) & 15) * 4
  const isFragment = (packet.readUInt16BE(6) & 0x3fff) !== 0
  if (packet.readUInt8(0) >> 4 !== 4 || headerBytes < 20 || packet.readUInt8(9) !== udp || isFragment) return undefined
  const message = packet.subarray(headerBytes + udpBytes)
  const flags = message.readUInt16BE(2)
  const isAnswer = (flags & 0x8000) !== 0 && (flags & 15) === 0
  if (!isAnswer || message.readUInt16BE(4) !== 1) return undefined
  const asked = readName(message, dnsBytes)
  if (!asked) return undefined
  const addresses: string[] = []
  let at = asked.end + 4
  for (let left = Math.min(maxRecords, message.readUInt16BE(6)); left > 0; left--) {
    at = skipName(message, at)
    const length = message.readUInt16BE(at + 8)
    const data = message.subarray(at + 10, at + 10 + length)
    if (message.readUInt16BE(at) === typeA && length === 4 && data.length === 4) addresses.push([...data].join('.'))
    at += 10 + length
  }
  return addresses.length > 0
    ? { asker: [...packet.subarray(16, 20)].join('.'), name: asked.name, addresses }
    : undefined
}

/** A name that is written out, as a question has it. */
function readName(message: Buffer, start: number): { name: string; end: number } | undefined {
  const labels: string[] = []
  let at = start
  for (;;) {
    const length = message.readUInt8(at)
    at += 1
    if (length === 0) break
    const text = message.toString('latin1', at, at + length).toLowerCase()
    if (length > 63 || !label.test(text)) return undefined
    labels.push(text)
    at += length
  }
  const name = labels.join('.')
  // Words of our own have no dot.
  return labels.length > 1 && name.length <= 253 ? { name, end: at } : undefined
}

function skipName(message: Buffer, start: number): number {
  for (let at = start; ;) {
    const length = message.readUInt8(at)
    if (length >= 0xc0) return at + 2
    if (length === 0) return at + 1
    at += 1 + length
  }
}
