import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

export interface Sample {
  metric: Record<string, string>
  value: [number, string]
}

/** Debian's Prometheus, which scrapes one target each second. */
export class Prometheus {
  private constructor(
    readonly url: string,
    private readonly end: () => Promise<void>,
  ) {}

  static async start(target: string): Promise<Prometheus> {
    const directory = await mkdtemp(join(tmpdir(), 'vm0-prometheus-'))
    const scrape = { job_name: 'vm0', scrape_interval: '1s', static_configs: [{ targets: [target] }] }
    await writeFile(join(directory, 'prometheus.json'), JSON.stringify({ scrape_configs: [scrape] }))
    const port = await freePort()
    const child = spawn(
      'prometheus',
      [
        `--config.file=${join(directory, 'prometheus.json')}`,
        `--storage.tsdb.path=${join(directory, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
        '--enable-feature=exemplar-storage',
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    let words = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (words = `${words}${text}`.slice(-4000)))
    const end = async (): Promise<void> => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill()
        await once(child, 'close')
      }
      await rm(directory, { recursive: true, force: true })
    }
    const prometheus = new Prometheus(`http://127.0.0.1:${port}`, end)
    while ((await prometheus.query('up').catch(() => [])).length === 0) {
      if (child.exitCode !== null) {
        await end()
        throw new Error(`prometheus ended: ${words}`)
      }
      await wait(50)
    }
    return prometheus
  }

  async query(expression: string): Promise<Sample[]> {
    return (await this.ask<{ result: Sample[] }>(`query?${new URLSearchParams({ query: expression })}`)).result
  }

  /** Asks until a scrape has brought something that fits. */
  async until(expression: string): Promise<Sample[]> {
    for (;;) {
      const samples = await this.query(expression)
      if (samples.length > 0) return samples
      await wait(100)
    }
  }

  async names(): Promise<string[]> {
    return this.ask<string[]>('label/__name__/values')
  }

  /** The labels of exemplars, within the last hour. */
  async exemplars(selector: string): Promise<Record<string, string>[]> {
    const now = Date.now() / 1000
    const search = new URLSearchParams({ query: selector, start: String(now - 3600), end: String(now + 60) })
    const found = await this.ask<{ exemplars: { labels: Record<string, string> }[] }[]>(`query_exemplars?${search}`)
    return found.flatMap(({ exemplars }) => exemplars.map(({ labels }) => labels))
  }

  async ask<T>(path: string): Promise<T> {
    const response = await fetch(`${this.url}/api/v1/${path}`)
    const { status, data, error } = (await response.json()) as { status: string; data: T; error?: string }
    if (status !== 'success') throw new Error(`${path}: ${error}`)
    return data
  }

  close(): Promise<void> {
    return this.end()
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
