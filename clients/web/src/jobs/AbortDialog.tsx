// Asks before an operation is aborted, and says what will be undone, as the service and the plan tell it now.
import { List, Loader, Text } from "@mantine/core";
import { useEffect, useState } from "react";
import type { AbortJobsResponse } from "../api/virtyard/api/jobs/v1/job_control_pb";
import { jobs as jobService } from "../client/services";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { quoted } from "../ui/filter-text";
import { problemOf, type Problem } from "../ui/problem";
import { ProblemAlert } from "../ui/ProblemAlert";
import { useCall } from "../ui/use-call";
import { resultWords, undosOf } from "./undoing";
import type { Story } from "./use-story";

interface Props {
  name: string;
  story: Story;
  opened: boolean;
  onClose: () => void;
}

export function AbortDialog({ name, story, opened, onClose }: Props) {
  const call = useCall();
  const preview = useAbortPreview(name, opened);
  const first = story.jobs[0];
  const confirm = (reason: string): void => {
    if (first) call.run(() => jobService.abortJob({ name: first.name, reason, wholeOperation: true }), onClose);
  };
  return (
    <ConfirmDialog
      opened={opened}
      onClose={onClose}
      title={`Abort ${story.metadata.title}?`}
      verb="Abort"
      destructive
      reasonLabel="Why"
      call={call}
      onConfirm={confirm}
    >
      {preview.problem && <ProblemAlert title="What an abort would come to is not known" problem={preview.problem} />}
      {!preview.answer && !preview.problem && <Loader role="status" size="sm" aria-label="Asking what will be undone" />}
      {preview.answer && <Consequences story={story} answer={preview.answer} />}
    </ConfirmDialog>
  );
}

function Consequences({ story, answer }: { story: Story; answer: AbortJobsResponse }) {
  const undos = undosOf(story.jobs, story.metadata.plan);
  return (
    <>
      <div>
        <Text size="sm" fw={600}>
          Its jobs
        </Text>
        <List size="sm">
          {answer.jobs.map((job) => (
            <List.Item key={job.job}>
              {job.title} on {job.object} {resultWords(job.result)}
            </List.Item>
          ))}
        </List>
        {answer.jobs.length === 0 && <Text size="sm">All of its jobs have ended.</Text>}
      </div>
      <div>
        <Text size="sm" fw={600}>
          What will be undone
        </Text>
        {undos.length === 0 ? (
          <Text size="sm">Nothing: no step of it has been done yet.</Text>
        ) : (
          <List size="sm" type="ordered">
            {undos.map((undo, index) => (
              <List.Item key={index}>
                {undo.title} ({undo.job}){undo.underWay && ", which is stopped first"}
              </List.Item>
            ))}
          </List>
        )}
      </div>
    </>
  );
}

/** What an abort would come to, asked for whenever the dialog is opened. */
function useAbortPreview(name: string, opened: boolean): { answer: AbortJobsResponse | undefined; problem: Problem | undefined } {
  const [preview, setPreview] = useState<{ answer: AbortJobsResponse | undefined; problem: Problem | undefined }>({ answer: undefined, problem: undefined });
  useEffect(() => {
    if (!opened) return;
    const abort = new AbortController();
    setPreview({ answer: undefined, problem: undefined });
    jobService.abortJobs({ filter: `operation = ${quoted(name)}`, validateOnly: true }, { signal: abort.signal }).then(
      (answer) => setPreview({ answer, problem: undefined }),
      (error: unknown) => abort.signal.aborted || setPreview({ answer: undefined, problem: problemOf(error) }),
    );
    return () => abort.abort();
  }, [name, opened]);
  return preview;
}
