import { readOnce } from '../../cgroup/open-files.js'
import { Netlink } from '../../netlink.js'
import { ProcessEnds, type ProcessEnd } from './process-ends.js'
import { readTaskExit } from './task-exit.js'

const familyName = 'TASKSTATS'
const request = { command: 1, listen: 3, stop: 4 }
/** Some seven thousand ends: what is more between two looks is lost, and counted. */
const keptBytes = 8 * 1024 ** 2
/** Ids of one sandbox. */
const idsEach = 65_536

/**
 * The kernel's account of every process of the host that ends (taskstats), of which those of sandboxes are handed on: each
 * sandbox has user ids of its own. Nothing waits for it: the kernel keeps what comes until it is drained. Where the kernel has
 * no such account, or this is not the host itself (another network or process namespace), nothing comes.
 */
export class ExitFeed {
  private readonly sinks = new Map<number, (end: ProcessEnd) => void>()
  private readonly ends = new ProcessEnds()
  private readonly cpus = readOnce('/sys/devices/system/cpu/possible').trim()
  private socket: { netlink: Netlink; family: number } | undefined
  /** The kernel has it. */
  private works = true
  /** How often the kernel had no room: at least so many ends are not told. */
  lost = 0

  /** Whether ends are told. */
  get listens(): boolean {
    return this.socket !== undefined
  }

  /** `uidBase`: the first of a sandbox's user ids; gives back what ends it. */
  subscribe(uidBase: number, sink: (end: ProcessEnd) => void): () => void {
    this.sinks.set(uidBase, sink)
    return () => {
      if (this.sinks.get(uidBase) === sink) this.sinks.delete(uidBase)
    }
  }

  listen(): void {
    if (this.socket || !this.works) return
    let netlink: Netlink | undefined
    try {
      netlink = new Netlink(keptBytes)
      const family = netlink.familyOf(familyName)
      netlink.request(family, request.command, request.listen, this.cpus)
      this.socket = { netlink, family }
    } catch {
      netlink?.close()
      this.works = false
    }
  }

  /** The kernel keeps no account for nobody. */
  stop(): void {
    this.socket?.netlink.close()
    this.socket = undefined
  }

  drain(): void {
    const { socket } = this
    if (!socket) return
    for (let message = socket.netlink.receive(); message !== 'none'; message = socket.netlink.receive()) {
      if (message === 'lost') {
        this.lost += 1
        continue
      }
      if (message.readUInt16LE(4) !== socket.family) continue
      const exit = readTaskExit(message)
      if (!exit) {
        // Its form is another one than is known.
        this.works = false
        return this.stop()
      }
      const sink = this.sinkOf(exit.uid)
      const end = sink && this.ends.add(exit)
      if (end) sink?.(end)
    }
  }

  private sinkOf(uid: number): ((end: ProcessEnd) => void) | undefined {
    for (const [base, sink] of this.sinks) if (uid >= base && uid < base + idsEach) return sink
    return undefined
  }
}
