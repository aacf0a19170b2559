// Which screen is shown for which address, inside the shell that all of them share.
import { Center, Loader } from "@mantine/core";
import { Suspense } from "react";
import { Route, Routes } from "react-router";
import { SCREENS } from "./routes";
import { Shell } from "./shell/Shell";

export function App() {
  return (
    <Shell>
      <Suspense
        fallback={
          <Center mih={200}>
            <Loader role="status" aria-label="Loading this screen" />
          </Center>
        }
      >
        <Routes>
          {SCREENS.map(({ path, Page }) => (
            <Route key={path} path={path} element={<Page />} />
          ))}
        </Routes>
      </Suspense>
    </Shell>
  );
}
