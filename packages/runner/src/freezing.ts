import type { Sandbox } from '@vm0/sandbox'

/** Whether a session's sandbox is frozen, and whether its memory was given back since. Changes follow one another. */
export class Freezing {
  isFrozen = false
  isReclaimed = false
  private changing: Promise<void> = Promise.resolve()
  private reclaiming: AbortController | undefined

  constructor(private readonly sandbox: () => Sandbox | undefined) {}

  /** Stops every process of the sandbox where they are, if `may` still holds when it comes to it. */
  freeze(may: () => boolean): Promise<void> {
    return this.change(async (sandbox) => {
      if (this.isFrozen || !may()) return
      await sandbox.freeze()
      this.isFrozen = true
    })
  }

  /** Gives the memory of the frozen sandbox to the host, until somebody wants it to go on. Gives the bytes. */
  async reclaim(): Promise<number> {
    const { signal } = (this.reclaiming = new AbortController())
    let bytes = 0
    await this.change(async (sandbox) => {
      if (!this.isFrozen || signal.aborted) return
      bytes = await sandbox.reclaim(signal)
      this.isReclaimed = true
    })
    return bytes
  }

  thaw(): Promise<void> {
    this.reclaiming?.abort()
    return this.change(async (sandbox) => {
      if (!this.isFrozen) return
      this.isFrozen = false
      this.isReclaimed = false
      await sandbox.thaw()
    })
  }

  /** Does something with the sandbox while it is frozen. */
  async during(sandbox: Sandbox, work: () => Promise<void>): Promise<void> {
    await this.changing
    const wasFrozen = this.isFrozen
    if (!wasFrozen) await sandbox.freeze()
    try {
      await work()
    } finally {
      if (!wasFrozen) await sandbox.thaw()
    }
  }

  private change(act: (sandbox: Sandbox) => Promise<void>): Promise<void> {
    const change = this.changing.then(() => {
      const sandbox = this.sandbox()
      return sandbox ? act(sandbox) : undefined
    })
    this.changing = change.catch(() => undefined)
    return change
  }
}
