import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { SaveRequest } from '@vm0/checkpoints'
import { timed, type Workbench } from './workbench.js'

const program = fileURLToPath(new URL('./file-tree.js', import.meta.url))

/** The tree that is saved; processes of their own write it, so that the bench's memory is that of what it measures. */
export class Tree {
  constructor(
    private readonly bench: Workbench,
    private readonly files: number,
  ) {}

  async make(): Promise<void> {
    await timed(process.execPath, [program, 'make', this.bench.live, String(this.files)])
    await timed('sync', ['-f', this.bench.live])
  }

  /** Changes about 1% of the files. */
  change(round: number): void {
    execFileSync(process.execPath, [program, 'change', this.bench.live, String(this.files), String(round)])
  }
}

export const newManifest: SaveRequest['manifest'] = {
  projectId: 'bench',
  sessionId: 'bench',
  runId: null,
  parent: null,
  cause: 'run',
  outcome: null,
  epoch: 1,
  template: 'sha256:0',
  conversation: null,
}
