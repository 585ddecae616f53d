import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import { spawn, type HostProcess } from '@vm0/process'

/** After a warm-up. What waits in the pool of the bench has waited for longer. */
const restMs = 3000

const stdio = ['pipe', 'pipe', 'ignore'] as const

/** The newest installed Claude Code of this machine, as `vm0 up` uses it. */
export async function claudeBinary(): Promise<string> {
  const releases = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'vm0/agents/claude-code')
  const versions = (await readdir(releases)).filter((name) => /^\d/.test(name))
  const newest = versions.toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1)
  if (!newest) throw new Error(`no release of claude-code in ${releases}: expected one that \`vm0 up\` installed`)
  return join(releases, newest, 'claude')
}

/**
 * The CLI on the host, without VM0: the same flags that a run has, in a folder and home of its own. It is started as VM0 starts
 * programs: a fork of this process would count against it.
 */
export class BareClaude {
  private readonly lines: AsyncIterator<string>

  private constructor(
    private readonly child: HostProcess<typeof stdio>,
    private readonly folder: string,
  ) {
    this.lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  }

  static async spawn(binary: string, modelUrl: string): Promise<BareClaude> {
    return BareClaude.start(binary, modelUrl, await mkdtemp(join(tmpdir(), 'vm0-bench-')))
  }

  /** A folder that has had a conversation: what `--resume` finds ready. */
  static async converse(binary: string, modelUrl: string, folder: string, text: string): Promise<string> {
    const claude = BareClaude.start(binary, modelUrl, folder)
    try {
      claude.send({ type: 'user', message: { role: 'user', content: text } })
      const { session_id: id } = JSON.parse(await claude.until('result')) as { session_id: string }
      return id
    } finally {
      await claude.kill()
    }
  }

  /** The CLI in a folder and home that are there already; they stay when it is killed. */
  static start(binary: string, modelUrl: string, folder: string, more: readonly string[] = []): BareClaude {
    const flags = ['--input-format', 'stream-json', '--output-format', 'stream-json', '--verbose']
    const child = spawn(
      binary,
      [
        '-p',
        ...flags,
        '--include-partial-messages',
        '--permission-mode',
        'bypassPermissions',
        '--allow-dangerously-skip-permissions',
        ...more,
      ],
      {
        cwd: folder,
        stdio,
        env: {
          PATH: process.env.PATH,
          HOME: folder,
          LANG: 'C.UTF-8',
          IS_SANDBOX: '1',
          DISABLE_AUTOUPDATER: '1',
          CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
          CLAUDE_CODE_DISABLE_BACKGROUND_TASKS: '1',
          ANTHROPIC_BASE_URL: modelUrl,
          ANTHROPIC_API_KEY: 'bench',
        },
      },
    )
    return new BareClaude(child, folder)
  }

  prompt(text: string): void {
    this.send({ type: 'user', message: { role: 'user', content: text } })
    // What it says from here on is nobody's business, but must not fill its pipe.
    void (async () => {
      for (;;) if ((await this.lines.next()).done) return
    })()
  }

  /** Two turns with a tool call, each taken back: what VM0 does with a sandbox that waits in its pool. */
  async warmUp(): Promise<void> {
    for (const uuid of [randomUUID(), randomUUID()]) {
      this.send({ type: 'user', uuid, message: { role: 'user', content: 'bench-warmup' } })
      await this.until('result')
      const request = { subtype: 'rewind_conversation', target_message_uuid: uuid }
      this.send({ type: 'control_request', request_id: 'warm-up', request })
      const answer = await this.until('control_response')
      if (!answer.includes('"rewound":true')) throw new Error(`the conversation was not taken back: ${answer}`)
    }
    // As a sandbox in the pool it has come to rest: a second after a turn it still collects its garbage.
    await wait(restMs)
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  private send(message: object): void {
    this.child.stdin.write(`${JSON.stringify(message)}\n`)
  }

  /** The next line of this type. */
  private async until(type: string): Promise<string> {
    for (;;) {
      const { value, done } = await this.lines.next()
      if (done) throw new Error(`the CLI ended before it said ${type}`)
      if (value.includes(`"type":"${type}"`)) return value
    }
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const closed = once(this.child, 'close')
    this.child.kill('SIGKILL')
    await closed
  }

  async close(): Promise<void> {
    await this.kill()
    await rm(this.folder, { recursive: true, force: true, maxRetries: 3 })
  }
}
