import { BlockList, isIPv4, isIPv6 } from 'node:net'

/** Where webhooks may lead: the public internet, or also hosts and networks of the operator's own. */
export type WebhookTargets = 'public' | 'any'

function blockList(ranges: readonly string[]): BlockList {
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', prefix] = range.split('/')
    list.addSubnet(address, Number(prefix), isIPv4(address) ? 'ipv4' : 'ipv6')
  }
  return list
}

/** The registries of special-purpose addresses: what is not, or may not be, somebody else's host on the internet. */
const special = blockList([
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  // Of 2000::/3, which alone is given out: protocols, tunnels to addresses of version 4, and what documents use.
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  '3fff::/20',
])
const globalUnicast = blockList(['2000::/3'])
/** A host's own services for its cloud, and nobody's hosts: never a target. */
const never = blockList([
  '0.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/4',
  '240.0.0.0/4',
  'fe80::/10',
  'ff00::/8',
  '::/128',
])
/** Addresses of version 6 that stand for one of version 4, in their last 32 bits. */
const mapped = blockList(['::ffff:0:0/96', '64:ff9b::/96'])

/** Whether a connection of a webhook may be made to an address. */
export function mayReach(address: string, targets: WebhookTargets): boolean {
  if (isIPv4(address)) return !(targets === 'any' ? never : special).check(address, 'ipv4')
  if (!isIPv6(address)) return false
  if (mapped.check(address, 'ipv6')) return mayReach(embedded(address), targets)
  if (targets === 'any') return !never.check(address, 'ipv6')
  return globalUnicast.check(address, 'ipv6') && !special.check(address, 'ipv6')
}

/** The last 32 bits as an address of version 4. */
function embedded(address: string): string {
  // In the form that the URL standard gives them: `::ffff:7f00:1`.
  const words = new URL(`http://[${address.split('%')[0]}]/`).hostname.slice(1, -1).split(':')
  const [high, low] = words.slice(-2).map((word) => Number.parseInt(word || '0', 16)) as [number, number]
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}
