import { createHash } from 'node:crypto'
import { run } from '@vm0/process'
import { egressOf, type Egress, type KnownDestinations } from './count.js'
import { readNameAnswer } from './dns-answer.js'
import { NamedEgress } from './names.js'
import { PacketLog } from './packet-log.js'

/** More than an answer by UDP has, but for those that name servers no longer send. */
const maxPacketBytes = 1500
const drainMs = 1_000

/** Reads what the rules of `countingRules` have counted, and the names that sandboxes were told for the addresses. */
export class EgressMeter {
  private readonly names = new NamedEgress()
  private log: PacketLog | undefined
  private timer: NodeJS.Timeout | undefined

  private constructor(
    private readonly table: string,
    private readonly access: KnownDestinations,
  ) {}

  /** Where the kernel can't log packets, or somebody else reads the group, no names are told. */
  static async open(table: string, access: KnownDestinations): Promise<EgressMeter> {
    const meter = new EgressMeter(table, access)
    const group = groupOf(table)
    try {
      meter.log = new PacketLog(group, maxPacketBytes)
      const rule = `ip saddr @resolvers udp sport 53 log group ${group} snaplen ${maxPacketBytes}`
      await run('nft', ['insert', 'rule', 'inet', table, 'received', rule])
      meter.timer = setInterval(() => meter.drain(), drainMs).unref()
    } catch {
      meter.close()
    }
    return meter
  }

  async read(): Promise<Egress> {
    this.drain()
    return egressOf(await run('nft', ['-j', 'list', 'table', 'inet', this.table]), this.access, this.names)
  }

  /** The sandbox that had this address is gone. */
  forget(sandboxAddress: string): void {
    this.drain()
    this.names.forget(sandboxAddress)
  }

  close(): void {
    clearInterval(this.timer)
    this.log?.close()
    this.log = undefined
  }

  private drain(): void {
    for (const packet of this.log?.drain() ?? []) {
      const answer = readNameAnswer(packet)
      if (answer) this.names.answered(answer)
    }
  }
}

/** Of an installation; those that people choose by hand are small. */
const groupOf = (table: string): number => 1024 + (createHash('sha256').update(table).digest().readUInt16LE(0) % 60_000)
