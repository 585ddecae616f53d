import { Vm0Error, type ArchivedSession, type IncomingSession, type Resources } from '@vm0/contract'
import { uuidv7 } from 'uuidv7'
import type { ServerOptions } from './options.js'
import type { Sessions } from './sessions.js'
import type { Templates } from './templates/index.js'
import { time } from './views.js'

/** Sessions as files that another installation takes in. */
export class Archives {
  constructor(
    private readonly options: ServerOptions,
    private readonly sessions: Sessions,
    private readonly templates: Templates,
  ) {}

  /** The session as it is now, which is saved first. Throws SESSION_BUSY, or CHECKPOINT_NOT_FOUND where there is nothing yet. */
  async export(
    projectId: string,
    sessionId: string,
    options: { withTemplate: boolean },
  ): Promise<AsyncIterable<Uint8Array>> {
    await this.sessions.row(projectId, sessionId)
    await this.sessions.requireIdle(projectId, sessionId)
    await this.options.runner.save({ projectId, sessionId })
    const { head, resources, labels } = await this.sessions.row(projectId, sessionId)
    if (!head)
      throw new Vm0Error('CHECKPOINT_NOT_FOUND', `session ${sessionId} has nothing to export: it never had a sandbox`)
    const about = { id: sessionId, checkpoint: head, resources: resources as Resources }
    return this.options.archives.export({ ...about, labels: labels as Record<string, string> }, options)
  }

  receive(content: AsyncIterable<Uint8Array>): Promise<IncomingSession> {
    return this.options.archives.receive(content)
  }

  /** Makes the session, under its own id where that is free in this project; over another template where one is given. */
  async adopt(projectId: string, incoming: IncomingSession, onto?: string): Promise<string> {
    const { about } = incoming
    const isTaken = await this.exists(projectId, about.id)
    const sessionId = isTaken ? uuidv7() : about.id
    const { checkpoint, template, sizeBytes } = await incoming.store({ projectId, sessionId, template: onto })
    const conversation = {
      framework: about.conversation?.framework ?? null,
      agent_session_id: about.conversation?.agentSessionId ?? null,
    }
    await this.options.database.db.transaction().execute(async (trx) => {
      // It may have been removed meanwhile; from here on it is held.
      if (onto !== undefined) await this.templates.resolve(projectId, onto, trx)
      const { resources, labels } = about
      const session = {
        project_id: projectId,
        id: sessionId,
        template,
        head: checkpoint,
        ...conversation,
        resources: JSON.stringify(resources),
        labels: JSON.stringify(labels),
        // No request to make it is this one.
        body_hash: '',
      }
      const made = await trx
        .insertInto('sessions')
        .values(session as never)
        .onConflict((oc) => oc.doNothing())
        .returning('id')
        .executeTakeFirst()
      if (!made) throw new Vm0Error('CONFLICT', `session ${sessionId} was made by another request meanwhile`)
      await trx
        .insertInto('checkpoints')
        .values({
          project_id: projectId,
          id: checkpoint,
          session_id: sessionId,
          cause: 'import',
          epoch: 0,
          size_bytes: sizeBytes,
          template,
          ...conversation,
          name: nameOf(about),
        } as never)
        .execute()
    })
    return sessionId
  }

  private async exists(projectId: string, id: string): Promise<boolean> {
    const row = await this.options.database.db
      .selectFrom('sessions')
      .select('id')
      .where('project_id', '=', projectId)
      .where('id', '=', id)
      .executeTakeFirst()
    return row !== undefined
  }
}

/** Tells where it comes from. */
function nameOf({ id, createdAt }: ArchivedSession): string {
  return `session ${id} of ${time(createdAt)}`
}
