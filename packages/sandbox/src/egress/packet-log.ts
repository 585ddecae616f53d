import { attributeIn, attributeOf, headerBytes, Netlink, protocols } from '../netlink.js'

// Numbers of the kernel's uapi: linux/netfilter/nfnetlink_log.h.
const logSubsystem = 4 << 8
const messages = { packet: logSubsystem | 0, config: logSubsystem | 1 }
const configs = { command: 1, mode: 2, threshold: 5 }
const bind = 1
const copyPacket = 2
const payload = 9
const netfilterHeaderBytes = 4
/** Some thousand packets: what is more between two looks is lost. */
const keptBytes = 2 * 1024 ** 2

/** Packets that a rule of the firewall logs to a group. Nothing waits for it: the kernel keeps what comes until it is drained. */
export class PacketLog {
  private readonly netlink: Netlink

  /** Throws where the kernel has no such log, or somebody else reads the group. `maxBytes`: what is kept of a packet. */
  constructor(group: number, maxBytes: number) {
    this.netlink = new Netlink(keptBytes, protocols.netfilter)
    const to = Buffer.alloc(netfilterHeaderBytes)
    to.writeUInt16BE(group, 2)
    const configure = (attribute: number, value: Buffer): void =>
      this.netlink.tell(messages.config, Buffer.concat([to, attributeOf(attribute, value)]))
    try {
      configure(configs.command, Buffer.of(bind))
      const mode = Buffer.alloc(6)
      mode.writeUInt32BE(maxBytes, 0)
      mode.writeUInt8(copyPacket, 4)
      configure(configs.mode, mode)
      // Each at once, not a hundred of them or after a second.
      configure(configs.threshold, Buffer.of(0, 0, 0, 1))
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** Those that came since the last call. */
  *drain(): Generator<Buffer> {
    for (let message = this.netlink.receive(); message !== 'none'; message = this.netlink.receive()) {
      if (message === 'lost') continue
      for (let at = 0; at + headerBytes <= message.length;) {
        const length = message.readUInt32LE(at)
        if (length < headerBytes) break
        const packet =
          message.readUInt16LE(at + 4) === messages.packet
            ? attributeIn(message.subarray(at, at + length), netfilterHeaderBytes, payload)
            : undefined
        if (packet) yield packet
        at += (length + 3) & ~3
      }
    }
  }

  close(): void {
    this.netlink.close()
  }
}
