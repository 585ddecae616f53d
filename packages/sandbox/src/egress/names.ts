import type { NameAnswer } from './dns-answer.js'

/** What one sandbox can fill: what it asks for is its own choice. */
const maxAddresses = 512
const maxNamesOfOne = 32
/** Kept apart in all, for as long as the platform runs. */
const maxNames = 256

/** What was exchanged between a sandbox and an address since the kernel counts it, in bytes. */
export interface PairCount {
  sandbox: string
  address: string
  sentBytes: number
  receivedBytes: number
}

export interface NamedCount {
  sentBytes: number
  receivedBytes: number
}

/**
 * Which names the addresses are that sandboxes send to, as far as they have asked for them: each one's answers count for it
 * alone, so that nobody gives an address a name that others see. Past the bounds an address has none.
 */
export class NamedEgress {
  private readonly answers = new Map<string, { names: Set<string>; byAddress: Map<string, string> }>()
  private readonly counted = new Map<string, PairCount>()
  private readonly totals = new Map<string, NamedCount>()
  private readonly left: NamedCount = { sentBytes: 0, receivedBytes: 0 }

  answered({ asker, name, addresses }: NameAnswer): void {
    const known = this.answers.get(asker) ?? { names: new Set(), byAddress: new Map() }
    this.answers.set(asker, known)
    if (!known.names.has(name)) {
      if (known.names.size >= maxNamesOfOne) return
      known.names.add(name)
    }
    for (const address of addresses) {
      known.byAddress.delete(address)
      known.byAddress.set(address, name)
      const [oldest] = known.byAddress.keys()
      if (known.byAddress.size > maxAddresses && oldest !== undefined) known.byAddress.delete(oldest)
    }
  }

  /** The sandbox that had this address is gone: the next one asks anew. */
  forget(sandbox: string): void {
    this.answers.delete(sandbox)
  }

  /** Takes in what the kernel has counted by now; what it has forgotten begins at nothing again. Returns the sums by name. */
  count(pairs: readonly PairCount[]): ReadonlyMap<string, NamedCount> {
    const there = new Set<string>()
    for (const pair of pairs) {
      const key = `${pair.sandbox} ${pair.address}`
      const before = this.counted.get(key)
      there.add(key)
      this.counted.set(key, pair)
      const total = this.totalOf(this.answers.get(pair.sandbox)?.byAddress.get(pair.address))
      if (!total) continue
      total.sentBytes += since(pair.sentBytes, before?.sentBytes)
      total.receivedBytes += since(pair.receivedBytes, before?.receivedBytes)
    }
    for (const key of this.counted.keys()) if (!there.has(key)) this.counted.delete(key)
    return this.totals
  }

  /** What of all that was exchanged has no name. It never falls, though the kernel lists one sum after the other while packets pass. */
  rest(sentBytes: number, receivedBytes: number): NamedCount {
    const { left } = this
    let [sent, received] = [sentBytes, receivedBytes]
    for (const total of this.totals.values()) {
      sent -= total.sentBytes
      received -= total.receivedBytes
    }
    left.sentBytes = Math.max(left.sentBytes, sent)
    left.receivedBytes = Math.max(left.receivedBytes, received)
    return { ...left }
  }

  private totalOf(name: string | undefined): NamedCount | undefined {
    if (name === undefined) return undefined
    const known = this.totals.get(name)
    if (known || this.totals.size >= maxNames) return known
    const total = { sentBytes: 0, receivedBytes: 0 }
    this.totals.set(name, total)
    return total
  }
}

const since = (now: number, before = 0): number => (now >= before ? now - before : now)
