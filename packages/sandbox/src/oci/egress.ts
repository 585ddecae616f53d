import type { HostAccess } from './host-access.js'

/** What sandboxes have exchanged with one destination since the rules were made, in bytes of IP packets. */
export interface EgressCount {
  /**
   * The host name of a proxy or registry that the host itself uses (names of one address, with commas between, can't be told
   * apart), `name_servers`, or `internet`: all the rest.
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

/** Sets, counters and chains that count what passes between sandboxes and the world, each by where it goes or comes from. */
export function countingRules({ allowed, nameServers: resolvers }: HostAccess): string[] {
  const pairs = [...new Set(allowed.map(({ address, port }) => `${address} . ${port}`))].join(', ')
  return [
    ...Object.values(sets).flatMap((name) => [
      `set ${name} {`,
      'type ipv4_addr . inet_service',
      'counter',
      ...(pairs ? [`elements = { ${pairs} }`] : []),
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
    'counter name sent_internet',
    '}',
    'chain received {',
    `ip saddr . tcp sport @${sets.received} return`,
    'ip saddr @resolvers meta l4proto { tcp, udp } th sport 53 counter name received_name_servers return',
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
  set?: { name: string; elem?: { elem?: { val?: { concat?: [string, number] }; counter?: Counter } }[] }
}

/** Reads what `nft -j list table` says. */
export function egressOf(json: string, { allowed }: HostAccess): Egress {
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
  for (const destination of [nameServers, internet])
    add(
      destination,
      counters.get(`sent_${destination}`)?.bytes ?? 0,
      counters.get(`received_${destination}`)?.bytes ?? 0,
    )
  return { destinations: [...destinations.values()], refusedPackets: counters.get('refused')?.packets ?? 0 }
}
