import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'

/** Debian's; Ubuntu has none that runs without snapd. */
export const chromium = ['/usr/bin/chromium', '/usr/bin/chromium-headless-shell'].find((path) => existsSync(path))

interface Message {
  id?: number
  method?: string
  params?: Record<string, unknown>
  result?: Record<string, unknown>
  error?: { message: string }
}

/** A real browser, spoken to by its own protocol over two pipes, with one page. */
export class Browser {
  /** Every address that the page has asked for, its own included. */
  readonly requests: string[] = []
  /** What the console shows: messages of scripts, errors, and what a policy has refused. */
  readonly console: string[] = []
  private readonly waiting = new Map<number, (message: Message) => void>()
  private readonly loads: (() => void)[] = []
  private sessionId: string | undefined
  private sent = 0

  private constructor(
    private readonly child: ChildProcess,
    private readonly profile: string,
  ) {
    let rest = ''
    ;(child.stdio[4] as Readable).setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\0')
      rest = parts.pop() ?? ''
      for (const part of parts) this.take(JSON.parse(part) as Message)
    })
  }

  static async start(path: string): Promise<Browser> {
    const profile = await mkdtemp(join(tmpdir(), 'vm0-browser-'))
    const args = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run']
    // What the browser asks for by itself, such as updates, is no part of what is looked at.
    args.push('--disable-background-networking', '--disable-component-update', '--window-size=1200,1400')
    const child = spawn(path, [...args, `--user-data-dir=${profile}`, '--remote-debugging-pipe'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    })
    await once(child, 'spawn')
    const browser = new Browser(child, profile)
    const { targetId } = await browser.ask('Target.createTarget', { url: 'about:blank' })
    browser.sessionId = (await browser.ask('Target.attachToTarget', { targetId, flatten: true })).sessionId as string
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await browser.ask(`${domain}.enable`)
    return browser
  }

  async open(url: string): Promise<void> {
    const loaded = new Promise<void>((resolve) => this.loads.push(resolve))
    await this.ask('Page.navigate', { url })
    await loaded
  }

  /** The value of an expression in the page. */
  async value(expression: string): Promise<unknown> {
    const { result } = await this.ask('Runtime.evaluate', { expression, returnByValue: true })
    return (result as { value?: unknown }).value
  }

  /** A PNG of the page. */
  async picture(): Promise<Buffer> {
    const { data } = await this.ask('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true })
    return Buffer.from(data as string, 'base64')
  }

  async close(): Promise<void> {
    const closed = this.child.exitCode === null && this.child.signalCode === null && once(this.child, 'close')
    this.child.kill('SIGKILL')
    await closed
    await rm(this.profile, { recursive: true, force: true, maxRetries: 10 })
  }

  private async ask(method: string, params: object = {}): Promise<Record<string, unknown>> {
    const id = ++this.sent
    const answered = new Promise<Message>((resolve) => this.waiting.set(id, resolve))
    const message = JSON.stringify({ id, method, params, ...(this.sessionId ? { sessionId: this.sessionId } : {}) })
    ;(this.child.stdio[3] as Writable).write(`${message}\0`)
    const { result, error } = await answered
    if (error) throw new Error(`${method}: ${error.message}`)
    return result ?? {}
  }

  private take(message: Message): void {
    const { id, method, params = {} } = message
    if (id !== undefined) {
      this.waiting.get(id)?.(message)
      this.waiting.delete(id)
    } else if (method === 'Network.requestWillBeSent') this.requests.push((params.request as { url: string }).url)
    else if (method === 'Page.loadEventFired') this.loads.shift()?.()
    else if (
      /^(?:Log\.entryAdded|Runtime\.(?:consoleAPICalled|exceptionThrown)|Page\.javascriptDialog)/.test(method ?? '')
    )
      this.console.push(JSON.stringify(params))
  }
}
