import { checkpointDiffSchema, checkpointIdSchema, diffQuerySchema } from '@vm0/contract'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'
import { findCheckpoint } from '../checkpoints.js'
import { stateBefore } from '../lineage.js'

const params = z.object({ id: checkpointIdSchema })

/** What a checkpoint has that another one of the project has not. */
export function diffRoutes(app: App, { options: { database, diffs } }: Parts): void {
  app.get(
    '/checkpoints/:id/diff',
    { schema: { params, querystring: diffQuerySchema, response: { 200: checkpointDiffSchema } } },
    async ({ projectId, params: { id }, query }, reply) => {
      const { path, patch, limit, after: cursor } = query
      const checkpoint = await findCheckpoint(projectId, id, database.db)
      const against = query.against
        ? (await findCheckpoint(projectId, query.against, database.db)).id
        : await stateBefore(checkpoint, database.db)
      const gone = new AbortController()
      reply.raw.once('close', () => gone.abort())
      const request = { projectId, before: against, after: id, path, patch, limit, cursor }
      return { checkpoint: id, against, ...(await diffs.diff(request, gone.signal)) }
    },
  )
}
