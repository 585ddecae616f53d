import { readOnce } from '../cgroup/open-files.js'

const synSent = '02'
const maxShown = 10

/** Connections of a network namespace that were asked for and not answered, from one of its processes, as `address:port`. */
export function unansweredIn(pid: number): string[] {
  const found = new Set<string>()
  for (const line of readOnce(`/proc/${pid}/net/tcp`).split('\n').slice(1)) {
    const [, , remote = '', state] = line.trim().split(/\s+/)
    const address = state === synSent ? addressOf(remote) : undefined
    if (address !== undefined && found.size < maxShown) found.add(address)
  }
  return [...found]
}

/** `0A00000A:1538`: the address in the byte order of the host, the port in that of the network. */
function addressOf(text: string): string | undefined {
  const [, hex = '', port = ''] = /^([0-9A-F]{8}):([0-9A-F]{4})$/.exec(text) ?? []
  if (hex === '') return undefined
  const bytes = hex.match(/../g)!.map((each) => parseInt(each, 16))
  return `${bytes.toReversed().join('.')}:${parseInt(port, 16)}`
}
