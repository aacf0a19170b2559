// The form of one operation type, found in the descriptor: `/run/METHOD?object=NAME&FIELD=VALUE`, or `?again=operations/12`.
import { Button, Center, Loader, Text } from "@mantine/core";
import { useMemo, useState } from "react";
import { useLocation, useParams, useSearchParams } from "react-router";
import type { Catalogue, OperationType } from "../forms/catalogue";
import { changedField, specOf, type FieldSpec } from "../forms/spec";
import { Page } from "../ui/Page";
import { ProblemAlert } from "../ui/ProblemAlert";
import { ChooseObject } from "./ChooseObject";
import { objectNamed } from "./earlier";
import { linkValues, needsObject, objectField, useLoaded } from "./objectOf";
import { OperationRun } from "./OperationRun";
import { useCatalogue } from "./useCatalogue";
import { isFirstPage, type Came } from "./came";
import { useEarlier } from "./useEarlier";

export default function RunPage() {
  const { method = "" } = useParams();
  const { catalogue, problem, retry } = useCatalogue();
  if (problem) {
    return (
      <Page title={method} actions={<Button onClick={retry}>Try again</Button>}>
        <ProblemAlert title="What can be asked for could not be read" problem={problem} />
      </Page>
    );
  }
  if (!catalogue) return <Waiting title={method} />;
  const operation = catalogue.operation(method);
  if (!operation) {
    return (
      <Page title={method}>
        <Text>There is no operation of this name.</Text>
      </Page>
    );
  }
  return <Asked key={operation.fullName} catalogue={catalogue} operation={operation} />;
}

function Asked({ catalogue, operation }: { catalogue: Catalogue; operation: OperationType }) {
  const [query, setQuery] = useSearchParams();
  const isFirst = isFirstPage(useLocation());
  // In the place of the question, so that the way back from the form leads to where the person came from.
  const ask = (wanted: Record<string, string>): void => setQuery(wanted, { replace: true, state: { isFirst } satisfies Came });
  const [attempt, setAttempt] = useState(0);
  const values = useMemo(() => linkValues(catalogue, operation, query), [catalogue, operation, query]);
  const field = objectField(operation);
  const again = query.get("again") ?? "";
  const earlier = useEarlier(catalogue, operation, again);
  const name = earlier.request
    ? objectNamed(operation.method.input, earlier.request, field ?? "")
    : (values.find(([key]) => key === field || (field?.endsWith(".name") && key === "name"))?.[1] ?? "");
  const { message, problem, loading } = useLoaded(catalogue, name, attempt);
  const spec = nameSpec(catalogue, operation);
  if (loading || earlier.loading) return <Waiting title={operation.title} />;
  if (earlier.problem) {
    return (
      <Page title={operation.title} lead={operation.comment} actions={<Button onClick={() => ask({})}>Begin with an empty form</Button>}>
        <ProblemAlert title={`What ${again} asked for could not be read`} problem={earlier.problem} />
      </Page>
    );
  }
  if (problem || (needsObject(operation) && !message && spec)) {
    return (
      <Page title={operation.title} lead={operation.comment}>
        {problem && <ProblemAlert title={`${name} could not be read`} problem={problem} />}
        {spec && <ChooseObject catalogue={catalogue} spec={spec} choose={(chosen) => ask({ object: chosen })} />}
      </Page>
    );
  }
  return (
    <OperationRun
      key={`${query.toString()} ${attempt}`}
      catalogue={catalogue}
      operation={operation}
      values={values}
      object={message}
      earlier={earlier.request}
      reload={() => setAttempt(attempt + 1)}
    />
  );
}

/** The field that names the object of an update. */
function nameSpec(catalogue: Catalogue, operation: OperationType): FieldSpec | undefined {
  const field = changedField(operation.method.input)?.name ?? "name";
  const spec = specOf(catalogue, operation.method.input).find((known) => known.name === field);
  return spec?.control.kind === "message" ? spec.control.fields.find((inner) => inner.name === "name") : spec;
}

function Waiting({ title }: { title: string }) {
  return (
    <Page title={title}>
      <Center mih={200}>
        <Loader aria-label="Loading the form" />
      </Center>
    </Page>
  );
}
