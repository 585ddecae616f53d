import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readNameAnswer } from './dns-answer.js'
import { NamedEgress } from './names.js'

interface Told {
  name?: string
  addresses?: string[]
  flags?: number
  questions?: number
  alias?: boolean
}

const nameBytes = (name: string): Buffer =>
  Buffer.concat([
    ...name.split('.').map((part) => Buffer.concat([Buffer.of(part.length), Buffer.from(part, 'latin1')])),
    Buffer.of(0),
  ])

/** An answer to a question for an address, as a name server's packet to 198.18.0.2 has it. */
function packetOf({ name = 'Api.Example.com', addresses = [], flags = 0x8180, questions = 1, alias }: Told): Buffer {
  const number = (value: number): Buffer => Buffer.of(value >> 8, value & 255)
  const record = (type: number, data: Buffer): Buffer =>
    Buffer.concat([number(0xc00c), number(type), number(1), Buffer.alloc(4), number(data.length), data])
  const answers = [
    ...(alias ? [record(5, nameBytes('edge.other.net'))] : []),
    ...addresses.map((address) => record(1, Buffer.from(address.split('.').map(Number)))),
  ]
  const counts = [7, flags, questions, answers.length, 0, 0].map(number)
  const dns = Buffer.concat([...counts, nameBytes(name), number(1), number(1), ...answers])
  const udp = Buffer.concat([number(53), number(4000), number(8 + dns.length), number(0)])
  const ip = Buffer.alloc(20)
  ip.set([0x45, 0])
  ip.writeUInt16BE(28 + dns.length, 2)
  ip.set([64, 17], 8)
  ip.set([9, 9, 9, 9, 198, 18, 0, 2], 12)
  return Buffer.concat([ip, udp, dns])
}

test('an answer tells the name that was asked for and its addresses, also by way of another name', () => {
  expect(readNameAnswer(packetOf({ addresses: ['1.2.3.4', '5.6.7.8'], alias: true }))).toEqual({
    asker: '198.18.0.2',
    name: 'api.example.com',
    addresses: ['1.2.3.4', '5.6.7.8'],
  })
})

test.each<[string, Told]>([
  ['a question', { addresses: ['1.2.3.4'], flags: 0x0100 }],
  ['an error', { addresses: ['1.2.3.4'], flags: 0x8183 }],
  ['no address', { alias: true }],
  ['another number of questions', { addresses: ['1.2.3.4'], questions: 2 }],
  ['a name with a quote', { addresses: ['1.2.3.4'], name: 'a"b.example' }],
  ['a name without a dot', { addresses: ['1.2.3.4'], name: 'internet' }],
  ['a name with a line', { addresses: ['1.2.3.4'], name: 'a\nb.example' }],
  [
    'a name that is too long',
    { addresses: ['1.2.3.4'], name: Array.from({ length: 5 }, () => 'x'.repeat(60)).join('.') },
  ],
])('%s names nothing', (_what, told) => {
  expect(readNameAnswer(packetOf(told))).toBeUndefined()
})

test('whatever a packet has, and wherever it is cut, it is read to an end', () => {
  const whole = packetOf({ addresses: ['1.2.3.4'], alias: true })
  for (let length = 0; length < whole.length; length++)
    expect(readNameAnswer(whole.subarray(0, length))).toBeUndefined()
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 8 }), (changes) => {
      const bytes = Buffer.from(whole)
      for (const [at, value] of changes) bytes[at] = value
      const found = readNameAnswer(bytes)
      if (found) expect(found.name).toMatch(/^[a-z0-9_.-]{1,253}$/)
    }),
  )
})

const pair = (sandbox: string, address: string, sentBytes: number, receivedBytes = 0) => ({
  sandbox,
  address,
  sentBytes,
  receivedBytes,
})

test('what is exchanged with an address counts for the name that its own sandbox asked for, from then on', () => {
  const egress = new NamedEgress()
  expect([...egress.count([pair('a', '1.1.1.1', 10)])]).toEqual([])
  egress.answered({ asker: 'a', name: 'one.example', addresses: ['1.1.1.1', '1.1.1.2'] })
  egress.answered({ asker: 'b', name: 'evil.example', addresses: ['1.1.1.1'] })
  const counts = egress.count([pair('a', '1.1.1.1', 25, 5), pair('a', '1.1.1.2', 1), pair('b', '1.1.1.1', 3)])
  expect(Object.fromEntries(counts)).toEqual({
    'one.example': { sentBytes: 16, receivedBytes: 5 },
    'evil.example': { sentBytes: 3, receivedBytes: 0 },
  })
  // The kernel has forgotten the one, and begun anew with the other; the sandbox that had the address is another one.
  egress.count([pair('a', '1.1.1.2', 4)])
  egress.forget('b')
  egress.count([pair('a', '1.1.1.1', 2), pair('a', '1.1.1.2', 3), pair('b', '1.1.1.1', 100)])
  expect(Object.fromEntries(counts)).toEqual({
    'one.example': { sentBytes: 24, receivedBytes: 5 },
    'evil.example': { sentBytes: 3, receivedBytes: 0 },
  })
})

test('a sandbox that asks for names without end takes neither the memory nor the names of others', () => {
  const egress = new NamedEgress()
  const ask = (asker: string, count: number): void => {
    for (let each = 0; each < count; each++)
      egress.answered({ asker, name: `n${each}.${asker}.example`, addresses: [`1.${each >> 8}.${each & 255}.1`] })
  }
  ask('a', 5000)
  ask('b', 1)
  const pairs = Array.from({ length: 5000 }, (_, each) => pair('a', `1.${each >> 8}.${each & 255}.1`, 1))
  const counts = egress.count([...pairs, pair('b', '1.0.0.1', 7)])
  expect([counts.size, counts.get('n0.b.example')?.sentBytes]).toEqual([33, 7])
  // What is left never falls.
  const [first, second] = [egress.rest(100, 10), egress.rest(99, 12)]
  expect([first, second]).toEqual([
    { sentBytes: 61, receivedBytes: 10 },
    { sentBytes: 61, receivedBytes: 12 },
  ])
  // Many of them, one after the other, come to an end too.
  for (let each = 0; each < 50; each++) ask(`s${each}`, 40)
  const more = Array.from({ length: 50 }, (_, each) => pair(`s${each}`, '1.0.0.1', 1))
  const moreNames = Array.from({ length: 50 }, (_, each) => pair(`s${each}`, '1.0.1.1', 1))
  expect(egress.count([...more, ...moreNames]).size).toBeLessThanOrEqual(256)
})
