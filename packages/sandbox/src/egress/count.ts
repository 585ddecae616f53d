import type { NamedEgress, PairCount } from './names.js'

/** What sandboxes can reach by name because the host does: its name servers, and the proxies and registries that it uses. */
export interface KnownDestinations {
  nameServers: readonly string[]
  allowed: readonly { address: string; port: number; host: string }[]
}

/** What sandboxes have exchanged with one destination since the rules were made, in bytes of IP packets. */
export interface EgressCount {
  /**
   * The host name of a proxy or registry that the host itself uses (names of one address, with commas between, can't be told
   * apart), the name that sandboxes had asked their name server for, `name_servers`, or `internet`: all the rest.
   */
  destination: string
  sentBytes: number
  receivedBytes: number
}

export interface Egress {
  destinations: EgressCount[]
  /** Packets that sandboxes sent to where they may not. */
  refusedPackets: number
}

export const nameServers = 'name_servers'
export const internet = 'internet'

/** The set of what is reachable though it is private, whose elements count what is sent; and the one that counts what comes back. */
const sets = { sent: 'allowed', received: 'allowed_back' } as const
/** What each sandbox exchanges with each address besides; past its size there is no more to tell than the sum. */
const pairSets = { sent: 'pairs_sent', received: 'pairs_received' } as const
const maxPairs = 8192
/** Counts what leaves a sandbox by the two addresses. */
export const countPair = `update @${pairSets.sent} { ip saddr . ip daddr }`

/** Sets, counters and chains that count what passes between sandboxes and the world, each by where it goes or comes from. */
export function countingRules({ allowed, nameServers: resolvers }: KnownDestinations): string[] {
  const pairs = [...new Set(allowed.map(({ address, port }) => `${address} . ${port}`))].join(', ')
  return [
    ...Object.values(sets).flatMap((name) => [
      `set ${name} {`,
      'type ipv4_addr . inet_service',
      'counter',
      ...(pairs ? [`elements = { ${pairs} }`] : []),
      '}',
    ]),
    ...Object.values(pairSets).flatMap((name) => [
      `set ${name} {`,
      'type ipv4_addr . ipv4_addr',
      `size ${maxPairs}`,
      'flags dynamic, timeout',
      'timeout 1d',
      'counter',
      '}',
    ]),
    'set resolvers {',
    'type ipv4_addr',
    ...(resolvers.length > 0 ? [`elements = { ${[...new Set(resolvers)].join(', ')} }`] : []),
    '}',
    ...['sent_name_servers', 'received_name_servers', 'sent_internet', 'received_internet', 'refused'].map(
      (name) => `counter ${name} { }`,
    ),
    'chain sent {',
    `ip daddr . tcp dport @${sets.sent} return`,
    'ip daddr @resolvers meta l4proto { tcp, udp } th dport 53 counter name sent_name_servers return',
    countPair,
    'counter name sent_internet',
    '}',
    'chain received {',
    `ip saddr . tcp sport @${sets.received} return`,
    'ip saddr @resolvers meta l4proto { tcp, udp } th sport 53 counter name received_name_servers return',
    `update @${pairSets.received} { ip daddr . ip saddr }`,
    'counter name received_internet',
    '}',
  ]
}

interface Counter {
  packets: number
  bytes: number
}

interface Listed {
  counter?: Counter & { name: string }
  set?: { name: string; elem?: { elem?: { val?: { concat?: [string, string | number] }; counter?: Counter } }[] }
}

/** Reads what `nft -j list table` says. */
export function egressOf(
  json: string,
  { allowed }: KnownDestinations,
  named: Pick<NamedEgress, 'count' | 'rest'>,
): Egress {
  const { nftables } = JSON.parse(json) as { nftables: Listed[] }
  const counters = new Map(nftables.flatMap(({ counter }) => (counter ? [[counter.name, counter] as const] : [])))
  const names = new Map<string, Set<string>>()
  for (const { address, port, host } of allowed)
    names.set(`${address} ${port}`, (names.get(`${address} ${port}`) ?? new Set()).add(host))
  const destinations = new Map<string, EgressCount>()
  const add = (destination: string, sentBytes: number, receivedBytes: number): void => {
    const before = destinations.get(destination) ?? { destination, sentBytes: 0, receivedBytes: 0 }
    before.sentBytes += sentBytes
    before.receivedBytes += receivedBytes
    destinations.set(destination, before)
  }
  for (const { set } of nftables) {
    if (set?.name !== sets.sent && set?.name !== sets.received) continue
    for (const { elem } of set.elem ?? []) {
      const hosts = elem?.val?.concat && names.get(elem.val.concat.join(' '))
      if (!hosts) continue
      const host = [...hosts].toSorted().join(',')
      const bytes = elem?.counter?.bytes ?? 0
      if (set.name === sets.sent) add(host, bytes, 0)
      else add(host, 0, bytes)
    }
  }
  const bytesOf = (counter: string): number => counters.get(counter)?.bytes ?? 0
  add(nameServers, bytesOf('sent_name_servers'), bytesOf('received_name_servers'))
  for (const [name, count] of named.count(pairsOf(nftables))) add(name, count.sentBytes, count.receivedBytes)
  const rest = named.rest(bytesOf('sent_internet'), bytesOf('received_internet'))
  add(internet, rest.sentBytes, rest.receivedBytes)
  return { destinations: [...destinations.values()], refusedPackets: counters.get('refused')?.packets ?? 0 }
}

function pairsOf(listed: readonly Listed[]): PairCount[] {
  const pairs = new Map<string, PairCount>()
  for (const { set } of listed) {
    if (set?.name !== pairSets.sent && set?.name !== pairSets.received) continue
    for (const { elem } of set.elem ?? []) {
      const [sandbox, address] = elem?.val?.concat ?? []
      if (sandbox === undefined || address === undefined) continue
      const key = `${sandbox} ${address}`
      const pair = pairs.get(key) ?? { sandbox, address: String(address), sentBytes: 0, receivedBytes: 0 }
      pair[set.name === pairSets.sent ? 'sentBytes' : 'receivedBytes'] += elem?.counter?.bytes ?? 0
      pairs.set(key, pair)
    }
  }
  return [...pairs.values()]
}
