import { setTimeout as wait } from 'node:timers/promises'
import type { Run, RunResult, Session } from '../../packages/vm0/src/index.js'
import { TestPlatform } from '../support/platform.js'
import { Random } from './random.js'
import { describe, lookCommand, randomChange, readFiles, SessionModel, type Files } from './session-model.js'

const bash = (variable: string) => ({
  name: 'Bash',
  input: { command: `eval "$${variable}"`, description: 'Work' },
})
/** The agent does what its environment says: two calls, so that a checkpoint lies between them. */
const script = {
  name: 'torture',
  conversations: [
    { when: '^work$', steps: [{ tools: [bash('FIRST')] }, { tools: [bash('SECOND')] }, { text: 'done' }] },
  ],
}
const maxSessions = 5
/** How long after the begin of an operation the platform is killed, at most: in its middle, or also when it is over. */
const killWithinMs = [700, 3_000]
const restartMs = 60_000

export interface TortureOptions {
  seed: number
  faults: number
  say?(line: string): void
}

export interface TortureReport {
  faults: number
  operations: number
  sessions: number
  /** Checkpoints whose every byte was compared at the end. */
  checkpoints: number
}

/**
 * A random program of runs, commands, saves, forks, rollbacks, kills and restarts against a model of what must be there.
 * Throws where something that was acknowledged is not; the seed plays it again.
 */
export async function torture({ seed, faults, say = () => undefined }: TortureOptions): Promise<TortureReport> {
  const platform = await TestPlatform.start(
    [script],
    { VM0_GC_SECONDS: '1' },
    { args: ['--idle', '4'], samePort: true },
  )
  try {
    return await new Torture(platform, new Random(seed), faults, say).play()
  } finally {
    await platform.stop()
  }
}

class Torture {
  private readonly models: SessionModel[] = []
  private serial = 0
  private report: TortureReport = { faults: 0, operations: 0, sessions: 0, checkpoints: 0 }

  constructor(
    private readonly platform: TestPlatform,
    private readonly random: Random,
    private readonly faults: number,
    private readonly say: (line: string) => void,
  ) {}

  async play(): Promise<TortureReport> {
    while (this.report.faults < this.faults) await this.step()
    await this.compareAll()
    await this.requireWhole()
    return this.report
  }

  private async step(): Promise<void> {
    const { random } = this
    const model = this.models.length === 0 ? await this.begin() : random.pick(this.models)
    const act = random.pick([
      this.work,
      this.work,
      this.work,
      this.command,
      this.command,
      this.save,
      this.close,
      this.fork,
      this.goBack,
    ])
    const fault = random.below(3)
    this.report.operations += 1
    if (fault === 0) return this.withKill(model, act)
    await act.call(this, model)
    if (fault === 1 && random.below(4) === 0) {
      this.report.faults += 1
      this.say(`${this.report.faults}: stopped in order`)
      await this.platform.down()
      await this.platform.up()
    }
    await this.look(model)
  }

  /** The operation's outcome is open: it may have been done, or not, or in part. */
  private async withKill(model: SessionModel, act: (model: SessionModel) => Promise<void>): Promise<void> {
    const afterMs = this.random.below(this.random.pick(killWithinMs))
    this.report.faults += 1
    this.say(`${this.report.faults}: ${act.name} is killed after ${afterMs} ms`)
    const done = act
      .call(this, model)
      .catch((error: unknown) => this.say(`  ${(error as Error).message.split('\n')[0]}`))
    await wait(afterMs)
    await this.platform.kill()
    await this.platform.up()
    await Promise.race([done, wait(restartMs).then(() => Promise.reject(new Error(`${act.name} never ended`)))])
    for (const each of this.models) await this.look(each)
  }

  private async begin(): Promise<SessionModel> {
    const model = new SessionModel(await this.platform.client.sessions.create())
    this.add(model)
    return model
  }

  private add(model: SessionModel): void {
    this.report.sessions += 1
    this.models.push(model)
    if (this.models.length > maxSessions) this.models.splice(this.random.below(maxSessions), 1)
  }

  private session({ session }: SessionModel): Session {
    return this.platform.client.sessions.get(session.id)
  }

  private change(files: Files): { command: string; files: Files } {
    const { command, after } = randomChange(this.random, this.serial++)
    return { command, files: after(files) }
  }

  private async command(model: SessionModel): Promise<void> {
    const { command, files } = this.change(model.now)
    model.changed(files)
    await this.session(model).exec(command)
  }

  private async work(model: SessionModel): Promise<void> {
    const first = this.change(model.now)
    const second = this.change(first.files)
    model.changed(first.files)
    model.changed(second.files)
    const run = this.session(model).run({ prompt: 'work', env: { FIRST: first.command, SECOND: second.command } })
    const [result] = await Promise.all([run.result(), this.follow(run, model, first.files)])
    this.ended(result, model, second.files)
  }

  /** What was told as saved while the run went on counts, whatever becomes of the run. */
  private async follow(run: Run, model: SessionModel, files: Files): Promise<void> {
    let calls = 0
    for await (const event of run) {
      if (event.type === 'tool.finished') calls += 1
      if (event.type === 'checkpoint.committed' && event.cause === 'tool' && calls === 1)
        model.acknowledged(files, event.checkpoint)
    }
  }

  private ended({ outcome, checkpoint }: RunResult, model: SessionModel, files: Files): void {
    if (outcome === 'succeeded') model.acknowledged(files, checkpoint)
  }

  private async save(model: SessionModel): Promise<void> {
    const files = model.now
    await this.session(model).exec('true')
    const { id } = await this.session(model).checkpoints.create({ name: `save ${this.serial++}` })
    model.acknowledged(files, id)
  }

  private async close(model: SessionModel): Promise<void> {
    const files = model.now
    await this.session(model).close()
    model.acknowledged(files)
  }

  private async fork(model: SessionModel): Promise<void> {
    const [checkpoint, files] = this.random.pick([...model.checkpoints]) ?? []
    if (!checkpoint || !files) return this.save(model)
    const fork = new SessionModel(await this.platform.client.checkpoints.get(checkpoint).fork())
    fork.changed(files)
    fork.acknowledged(files, checkpoint)
    this.add(fork)
  }

  private async goBack(model: SessionModel): Promise<void> {
    const [checkpoint, files] = this.random.pick([...model.checkpoints]) ?? []
    if (!checkpoint || !files) return this.save(model)
    const before = model.now
    model.changed(files)
    await this.session(model).rollback(checkpoint)
    // What it had is saved too; only where it went back to is where it stands.
    model.acknowledged(before)
    model.changed(files)
    model.acknowledged(files, checkpoint)
  }

  /** A run goes on when the platform is killed, also one whose client was cut off before it could follow it. */
  private async atRest(model: SessionModel): Promise<void> {
    const deadline = performance.now() + restartMs
    while ((await this.session(model).get()).state !== 'idle') {
      if (performance.now() > deadline) throw new Error(`a run of session ${model.session.id} never ended`)
      await wait(50)
    }
  }

  private async look(model: SessionModel): Promise<void> {
    await this.atRest(model)
    const { stdout, stderr, exitCode } = await this.session(model).exec(lookCommand)
    if (exitCode !== 0) throw new Error(`the files of ${model.session.id} can't be read: ${stderr}`)
    model.found(readFiles(stdout))
  }

  /** Every checkpoint that was acknowledged gives back its bytes. */
  private async compareAll(): Promise<void> {
    for (const { checkpoints } of this.models)
      for (const [id, files] of [...checkpoints].slice(-10)) {
        const fork = await this.platform.client.checkpoints.get(id).fork()
        const found = readFiles((await fork.exec(lookCommand)).stdout)
        if (describe(found) !== describe(files))
          throw new Error(`checkpoint ${id} has\n${describe(found)}\nexpected ${describe(files)}`)
        await fork.delete()
        this.report.checkpoints += 1
      }
  }

  private async requireWhole(): Promise<void> {
    const { status, stdout, stderr } = await this.platform.cli('fsck', '--deep')
    if (status !== 0) throw new Error(`vm0 fsck --deep finds damage: ${stdout}${stderr}`)
  }
}
