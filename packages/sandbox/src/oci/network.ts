import { writeFile } from 'node:fs/promises'
import { run } from '@vm0/process'
import { countingRules, countPair, EgressMeter, type Egress } from '../egress/index.js'
import type { HostAccess } from './host-access.js'
import type { Slot } from './slots.js'

/** Where the gateway is, as seen from inside every sandbox. */
export const gatewayInside = '169.254.77.1'

/** RFC 1918, 6598, 5737, 2544, 1122, 3927, multicast and the rest that isn't public. */
const notPublic =
  '0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.0.0.0/24, 192.0.2.0/24, 192.168.0.0/16, 198.18.0.0/15, 198.51.100.0/24, 203.0.113.0/24, 224.0.0.0/3'

/** The installation's table, gateway address and the links of its sandboxes. */
export class Network {
  private readonly table: string
  private readonly linkPrefix: string
  private readonly gatewayLink: string
  private mtu = 1500
  private meter: EgressMeter | undefined

  constructor(
    private readonly installation: string,
    private readonly gatewaySlot: Slot,
  ) {
    this.table = `vm0_${installation}`
    this.linkPrefix = `v${installation}`
    this.gatewayLink = `g${installation}`
  }

  get gatewayAddress(): string {
    return this.gatewaySlot.hostAddress
  }

  /** `kept`: slots whose links stand already. The rules of an earlier process hold until these take their place at once. */
  async open(gatewayPort: number, access: HostAccess, kept: readonly Slot[] = []): Promise<void> {
    await writeFile('/proc/sys/net/ipv4/ip_forward', '1')
    await addLink(this.gatewayLink, [
      `link add ${this.gatewayLink} type veth peer name h${this.installation}`,
      `addr add ${this.gatewayAddress}/32 dev ${this.gatewayLink}`,
    ])
    this.mtu = await uplinkMtu()
    const links = `"${this.linkPrefix}*"`
    const rules = [
      `table inet ${this.table} {}`,
      `delete table inet ${this.table}`,
      `table inet ${this.table} {`,
      'set links {',
      'type ifname . ipv4_addr',
      ...elements(kept.map((slot) => `"${this.linkOf(slot)}" . ${slot.sandboxAddress}`)),
      '}',
      ...countingRules(access),
      // No sandbox speaks IPv6 or for another address than its own.
      'chain verify {',
      'type filter hook prerouting priority raw',
      `iifname ${links} meta nfproto != ipv4 drop`,
      `iifname ${links} iifname . ip saddr != @links drop`,
      '}',
      'chain to_gateway {',
      'type nat hook prerouting priority dstnat',
      `iifname ${links} ip daddr ${gatewayInside} tcp dport 80 dnat ip to ${this.gatewayAddress}:${gatewayPort}`,
      '}',
      'chain to_world {',
      'type nat hook postrouting priority srcnat',
      `ip saddr 198.18.0.0/15 oifname != ${links} oifname != "lo" masquerade`,
      '}',
      'chain to_host {',
      'type filter hook input priority filter',
      `iifname ${links} ip daddr ${this.gatewayAddress} tcp dport ${gatewayPort} ct status dnat accept`,
      `iifname ${links} drop`,
      `iifname != "lo" ip daddr ${this.gatewayAddress} drop`,
      '}',
      'chain through_host {',
      'type filter hook forward priority filter',
      `oifname ${links} ct state established,related jump received`,
      `oifname ${links} ct state established,related accept`,
      `oifname ${links} drop`,
      `iifname ${links} ct state established,related jump sent`,
      `iifname ${links} ct state established,related accept`,
      `iifname ${links} ip daddr . tcp dport @allowed accept`,
      `iifname ${links} ip daddr @resolvers udp dport 53 counter name sent_name_servers accept`,
      `iifname ${links} ip daddr @resolvers tcp dport 53 counter name sent_name_servers accept`,
      `iifname ${links} ip daddr { ${notPublic} } counter name refused drop`,
      `iifname ${links} ${countPair}`,
      `iifname ${links} counter name sent_internet`,
      '}',
      '}',
    ]
    await run('nft', ['-f', '-'], `${rules.join('\n')}\n`)
    this.meter = await EgressMeter.open(this.table, access)
  }

  linkOf(slot: Slot): string {
    return linkName(this.installation, slot)
  }

  /** Gives the network namespace of process `pid` its link to the host; it goes with the namespace. */
  async attach(slot: Slot, pid: number): Promise<void> {
    const link = this.linkOf(slot)
    await Promise.all([
      run('nft', ['add', 'element', 'inet', this.table, 'links', `{ "${link}" . ${slot.sandboxAddress} }`]),
      addLink(link, [
        `link add ${link} mtu ${this.mtu} type veth peer name eth0 mtu ${this.mtu} netns ${pid}`,
        `addr add ${slot.hostAddress}/30 dev ${link}`,
      ]),
    ])
    await run(
      'nsenter',
      [`--net=/proc/${pid}/ns/net`, 'ip', '-batch', '-'],
      [
        `addr add ${slot.sandboxAddress}/30 dev eth0`,
        'link set lo up',
        'link set eth0 up',
        `route add default via ${slot.hostAddress}`,
        '',
      ].join('\n'),
    )
  }

  async detach(slot: Slot): Promise<void> {
    const link = this.linkOf(slot)
    this.meter?.forget(slot.sandboxAddress)
    await run('nft', [
      'delete',
      'element',
      'inet',
      this.table,
      'links',
      `{ "${link}" . ${slot.sandboxAddress} }`,
    ]).catch(() => undefined)
    await run('ip', ['link', 'delete', link]).catch(() => undefined)
  }

  /** What sandboxes have exchanged with the world since `open`. */
  async egress(): Promise<Egress> {
    return (await this.meter?.read()) ?? { destinations: [], refusedPackets: 0 }
  }

  async close(): Promise<void> {
    this.meter?.close()
    await removeNetworkOf(this.installation)
    await this.gatewaySlot.release()
  }
}

/** Makes a link and puts it up. One that is there by that name is left over: the kernel takes some away a while after their namespace. */
async function addLink(link: string, steps: readonly string[]): Promise<void> {
  const make = (): Promise<string> => run('ip', ['-batch', '-'], [...steps, `link set ${link} up`, ''].join('\n'))
  await make().catch(async () => {
    await run('ip', ['link', 'delete', link]).catch(() => undefined)
    await make()
  })
}

const linkName = (installation: string, slot: Slot): string => `v${installation}${slot.number.toString(36)}`

/** What is kept stays behind the rules that stand. */
export async function removeNetworkOf(installation: string, but: readonly Slot[] = []): Promise<void> {
  const kept = but.map((slot) => linkName(installation, slot))
  if (kept.length === 0) await run('nft', ['delete', 'table', 'inet', `vm0_${installation}`]).catch(() => undefined)
  const links = JSON.parse(await run('ip', ['-j', 'link'])) as { ifname: string }[]
  for (const { ifname } of links) {
    if (kept.includes(ifname)) continue
    if (ifname === `g${installation}` || new RegExp(`^v${installation}[0-9a-z]{1,4}$`).test(ifname))
      await run('ip', ['link', 'delete', ifname]).catch(() => undefined)
  }
}

async function uplinkMtu(): Promise<number> {
  const [route] = JSON.parse((await run('ip', ['-4', '-j', 'route', 'show', 'default'])) || '[]') as {
    dev?: string
    metrics?: { mtu?: number }[]
  }[]
  if (!route?.dev) return 1500
  const [link] = JSON.parse(await run('ip', ['-j', 'link', 'show', 'dev', route.dev])) as { mtu?: number }[]
  return Math.min(link?.mtu ?? 1500, 1500)
}

function elements(items: string[]): string[] {
  return items.length > 0 ? [`elements = { ${[...new Set(items)].join(', ')} }`] : []
}
